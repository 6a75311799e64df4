"""Claims of MMDA's Table 2, missing modalities: averages, ranking, the best of each column, HTER beside AUC.

Each cell is a mean over the four targets; means of HTERs and AUCs obey the bounds that each pair obeys."""

from functools import partial

from paper_tables.audit.claim import Family
from paper_tables.audit.mmda import questions

averages = Family(partial(questions.averages, number=2))
rankings = Family(partial(questions.rankings, number=2))
eer_and_auc = Family(partial(questions.eer_and_auc, number=2))
best_columns = Family(partial(questions.best_columns, number=2))
