"""Claims of MMDA's Table 3, limited sources: the best of each column, and HTER beside AUC."""

from functools import partial

from paper_tables.audit.claim import Family
from paper_tables.audit.mmda import questions

best_columns = Family(partial(questions.best_columns, number=3))
eer_and_auc = Family(partial(questions.eer_and_auc, number=3))
best_threshold = Family(partial(questions.best_threshold, number=3))
