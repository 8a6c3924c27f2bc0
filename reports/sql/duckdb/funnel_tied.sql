-- Visitors with events of one time: which of these came first takes longer to find out.
-- events_in_full (visitor, …, received, id, sender, site): the events of the funnel
tied AS MATERIALIZED (
    SELECT DISTINCT visitor
    FROM once_reached
    WHERE is_tied
),
events_of_tied AS NOT MATERIALIZED (
    SELECT e.*
    FROM events_in_full e
    SEMI JOIN tied t ON e.visitor = t.visitor
),
