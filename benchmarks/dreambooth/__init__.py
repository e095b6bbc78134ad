"""Runs diffusers' own DreamBooth script on this machine as it stands."""
