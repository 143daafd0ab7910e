"""The node: composes the rooms into one process, and reads the configuration they are handed.

The only room that knows all others (but cli and testing, which stand above it). `config` has the
frozen sections; `node` starts and stops what they describe.
"""
