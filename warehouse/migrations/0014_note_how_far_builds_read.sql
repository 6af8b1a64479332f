-- How far the stream was with each topic when the bars were read that a mart is made of: what was published before that is in the
-- mart. What fired with a message waits for it.
create table if not exists staging.built_offsets (
    mart text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (mart, topic, partition)
);
comment on table staging.built_offsets is 'One row per mart, topic and partition.';
comment on column staging.built_offsets.mart is 'Mart that was built.';
comment on column staging.built_offsets.topic is 'Kafka topic.';
comment on column staging.built_offsets.partition is 'Kafka partition.';
comment on column staging.built_offsets.next_offset is 'Everything below this offset was in the lake when the mart was built last.';
