{{
    judged_actions(
        ref('int_known_actions'),
        ref('int_symbol_tenures'),
        ref('int_daily_bars'),
        change_doubt('compared', ref('int_daily_bars')),
        source_rank('compared.source'),
    )
}}
