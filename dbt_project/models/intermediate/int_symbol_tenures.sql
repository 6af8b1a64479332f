{{
    symbol_tenures(
        ref('int_known_actions'),
        ref('int_daily_bars'),
        change_doubt('said_actions', ref('int_daily_bars')),
    )
}}
