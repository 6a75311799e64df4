"""Claims of MMDA's Table 2, missing modalities: its averages, their ranking, and the best of each column."""

from functools import partial

from paper_tables.audit.claim import Family
from paper_tables.audit.mmda import questions

averages = Family(partial(questions.averages, number=2))
rankings = Family(partial(questions.rankings, number=2))
best_columns = Family(partial(questions.best_columns, number=2))
