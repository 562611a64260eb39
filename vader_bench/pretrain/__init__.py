"""Trains every model of the pocket suite from nothing: `nox -s pretrain-pocket`."""
