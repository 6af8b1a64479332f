{{ symbol_sessions() }}
