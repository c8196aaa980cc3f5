# Nothing of Python: functions for the core alone.
