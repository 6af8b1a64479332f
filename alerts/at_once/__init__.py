"""Rules that are judged with each trade, from the topic, ahead of the marts."""
