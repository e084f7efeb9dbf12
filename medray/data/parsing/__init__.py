"""Reading fields, turns, tool calls and languages out of raw rows."""
