"""`medray data`: look at, check, convert and split datasets. One file a command: `data_*.py` beside this one."""

from __future__ import annotations

from medray.commands import (
    data_convert,
    data_diff,
    data_list,
    data_render,
    data_report,
    data_sample,
    data_split,
    data_stats,
    data_validate,
)
from medray.commands.run_app import new_app

app = new_app("Look at, check, render, compare, convert and split datasets.")
app.command("list")(data_list.list_command)
app.command("validate")(data_validate.validate_command)
app.command("stats")(data_stats.stats_command)
app.command("sample")(data_sample.sample_command)
app.command("diff")(data_diff.diff_command)
app.command("report")(data_report.report_command)
app.command("render")(data_render.render_command)
app.command("convert")(data_convert.convert_command)
app.command("split")(data_split.split_command)
