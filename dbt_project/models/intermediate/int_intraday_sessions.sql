{{ intraday_sessions() }}
