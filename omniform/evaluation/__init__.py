"""How good, how fast, how sure: metrics, the classifier they are measured with, and the report page.

Import from the modules (`metrics`, `features`, `report`); this package itself imports nothing, so that
`omniform --help` stays fast.
"""
