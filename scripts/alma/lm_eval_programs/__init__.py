"""Programs for lm-eval's environment (`alma.lm_eval` starts them). Each imports nothing of this package."""
