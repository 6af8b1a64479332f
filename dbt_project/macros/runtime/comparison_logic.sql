{#- All that bar_reconciliation computes with beyond its own text, for its logic_version. -#}
{% macro comparison_logic() -%}
    {{ intraday_bars() }}
    {{ basis_points('shown', 'other') }}
    {{ is_near('shown', 'other', 'tolerance', 'whole') }}
    {{ var('price_tolerance_bps') }}
    {{ var('volume_tolerance_percent') }}
{%- endmacro %}
