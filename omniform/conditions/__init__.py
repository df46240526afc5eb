"""What a system is told, where it enters, and guidance."""
