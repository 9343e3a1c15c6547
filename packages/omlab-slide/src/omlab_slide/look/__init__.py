"""The dry run over slides (`omlab slide look`): what would be done with them, and what is doubtful."""
