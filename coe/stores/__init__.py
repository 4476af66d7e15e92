"""What outlives the process: SQLite files in the state folder."""
