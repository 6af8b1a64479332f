{{ config(materialized='view') }}

with

recorded_alerts as (

    select * from {{ source('app', 'alerts') }}

),

retractions as (

    select
        refers_to as alert_id,
        recorded_at as retracted_at,
        evidence as retraction_evidence
    from recorded_alerts
    where kind = 'retraction'

),

final as (

    select
        recorded_alerts.alert_id,
        recorded_alerts.rule_id,
        recorded_alerts.rule_name,
        recorded_alerts.rule_version,
        recorded_alerts.symbol,
        recorded_alerts.interval,
        recorded_alerts.bar_at,
        recorded_alerts.session_date,
        recorded_alerts.revision,
        retractions.alert_id is not null as is_retracted,
        recorded_alerts.is_historical,
        recorded_alerts.message,
        recorded_alerts.evidence,
        recorded_alerts.triggered_at,
        recorded_alerts.recorded_at,
        retractions.retracted_at,
        retractions.retraction_evidence
    from recorded_alerts
    left join retractions
        on recorded_alerts.alert_id = retractions.alert_id
    where recorded_alerts.kind = 'alert'

)

select * from final
