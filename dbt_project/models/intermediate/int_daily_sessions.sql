{{ daily_sessions() }}
