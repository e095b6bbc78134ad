"""`harness review`: people look at runs, compare them, vote blindly, approve and refuse; what they said lies in files.

server      one socket on this machine and who may speak to it
pages       what is shown; acts: what a form does
runs        the runs that lie in the reports folder
ledger      votes and comments: a journal in the store, a sorted file in the repository
votes       blind pairs, and strengths from them
agreement   which metric says what people say
decisions   approve, refuse, bless, roll back: registry, baseline, and an audit line
"""
