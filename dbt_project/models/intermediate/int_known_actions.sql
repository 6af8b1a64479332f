{{ actions_known(ref('stg_corporate_actions'), source_rank('source')) }}
