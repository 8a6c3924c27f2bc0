"""The encoded reports that a worker answered last. The same question of the same
snapshot has the same answer, so they are valid until another snapshot is published.
"""

from __future__ import annotations

from collections import OrderedDict

from reports.reader.question import Question
from shared.disk.file_identity import FileIdentity, file_identity
from shared.disk.layout import DataDirectory

CACHE_MAX_BYTES = 8 << 20
_ANSWER_MAX_BYTES = CACHE_MAX_BYTES // 8


class AnswerCache:
    """Answers of one snapshot, at most CACHE_MAX_BYTES of them; the least recently used
    are evicted.
    """

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        self._snapshot: FileIdentity | None = None
        self._answers: OrderedDict[Question, bytes] = OrderedDict()
        self._bytes = 0

    def published(self) -> FileIdentity | None:
        """The file of the published snapshot, None if there is none. Drops the answers
        of any other.
        """
        try:
            snapshot = file_identity(self._data.snapshot)
        except OSError:
            snapshot = None
        if snapshot != self._snapshot:
            self._snapshot, self._bytes = snapshot, 0
            self._answers.clear()
        return snapshot

    def get(self, question: Question) -> bytes | None:
        """The answer of the published snapshot, None if it is not cached."""
        self.published()
        answer = self._answers.get(question)
        if answer is not None:
            self._answers.move_to_end(question)
        return answer

    def put(self, question: Question, answer: bytes, snapshot: FileIdentity | None) -> None:
        """`snapshot` is what was published before the question was sent: if that has
        changed, the answer may be of either and is not kept.
        """
        if snapshot is None or snapshot != self.published() or len(answer) > _ANSWER_MAX_BYTES:
            return
        self._bytes += len(answer) - len(self._answers.pop(question, b""))
        self._answers[question] = answer
        while self._bytes > CACHE_MAX_BYTES:
            self._bytes -= len(self._answers.popitem(last=False)[1])
