{{ adjustment_spans(ref('int_judged_actions'), ref('int_symbol_tenures')) }}
