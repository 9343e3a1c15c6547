"""The labelling page: experts rank the answers of models, blind; what they say trains reward models.

`questions` reads what is to be labelled, `store` keeps it with accounts and labels in one SQLite file, `handing` says
who is asked what next and in which order, `server` shows the page, `agreement` and `records` tell what came of it.
"""
