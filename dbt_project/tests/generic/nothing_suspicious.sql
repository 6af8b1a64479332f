{#- No row that a person should look at: of a model with a status the suspicious ones, of another all. -#}
{% test nothing_suspicious(model) %}
    select *
    from {{ model }}
    {% if model.identifier == 'corporate_actions' %}
        where status = 'suspicious'
    {% endif %}
{% endtest %}
