{{ made_up_symbols() }}
