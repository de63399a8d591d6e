"""Schedules of noise, and guidance while sampling."""
