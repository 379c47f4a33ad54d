"""Pictures in the board's page."""

from prunebench.leaderboard.render.html.charts.all_charts import charts as charts
