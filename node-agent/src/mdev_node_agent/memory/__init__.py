"""What must survive a crash: journal, ledger, and how a file is written so."""
