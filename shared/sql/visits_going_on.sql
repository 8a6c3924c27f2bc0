-- Events of a day whose visit has events on the following day, and those events.
-- own, following: events of the two days; key: what those of one visit have in common
(
    SELECT e.*
    FROM {own} e
    SEMI JOIN (SELECT DISTINCT {key} AS visit FROM {following} e) f ON f.visit = {key}
    UNION ALL
    FROM {following}
)
