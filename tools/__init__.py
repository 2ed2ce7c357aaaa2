"""What provision.py, diagnose.py and demo.py share."""
