"""What people see: static files, served as they are. No build step, no import."""
