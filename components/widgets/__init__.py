"""What several tabs draw with: functions from data to markup, and components built upon them."""
