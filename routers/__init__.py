"""The learned half: estimators from text to category scores. Knows no HTTP."""
