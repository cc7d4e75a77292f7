"""Tests of the gate's parts."""
