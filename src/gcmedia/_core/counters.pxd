"""Counters of many streams at once: for Python alone, so nothing of it is declared here."""
