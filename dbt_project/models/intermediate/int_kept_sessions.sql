{{ kept_sessions(ref('int_intraday_sessions')) }}
