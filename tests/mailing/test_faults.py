"""Whom to blame for what a mail server said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.mailing.faults import SENTENCES, Reply, Step, Verdict, judge


@pytest.mark.parametrize(
    ("step", "code", "text", "verdict", "reason"),
    [
        (Step.MESSAGE, 250, "2.0.0 queued", Verdict.ACCEPTED, "accepted"),
        (Step.RCPT, 550, "5.1.1 no such user", Verdict.HARD, "mailbox_unknown"),
        (Step.RCPT, 550, "no such user", Verdict.HARD, "mailbox_unknown"),
        (Step.RCPT, 550, "5.1.2 bad domain", Verdict.HARD, "domain_unknown"),
        (Step.RCPT, 550, "5.2.1 disabled", Verdict.HARD, "mailbox_disabled"),
        (Step.RCPT, 552, "5.2.2 full", Verdict.SOFT, "mailbox_full"),
        (Step.RCPT, 452, "4.2.2 full", Verdict.SOFT, "mailbox_full"),
        (Step.RCPT, 450, "4.7.1 greylisted", Verdict.SOFT, "try_later"),
        (Step.RCPT, 451, "", Verdict.SOFT, "try_later"),
        (Step.RCPT, 550, "5.7.1 spam", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "relaying denied", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "5.4.1 recipient address rejected: access denied", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "5.1.0 rejected", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Administrative prohibition", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Mailbox quota exceeded", Verdict.SOFT, "mailbox_full"),
        (Step.RCPT, 550, "Too many messages from your IP", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Acceso no permitido desde su servidor", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Verification failed for the sender", Verdict.BLOCK, "policy"),
        (Step.RCPT, 553, "not in my list of allowed rcpthosts (#5.7.1)", Verdict.BLOCK, "policy"),
        (Step.MESSAGE, 550, "5.1.1 account of the sender", Verdict.BLOCK, "content_refused"),
        (Step.RCPT, 550, "SPF record not found", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Reverse DNS name not found", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "HELO host does not exist", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "DKIM key not found", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Unknown client host", Verdict.BLOCK, "policy"),
        (Step.RCPT, 553, "domain of MAIL FROM does not exist", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "Blocked: unknown reputation", Verdict.BLOCK, "policy"),
        (Step.RCPT, 550, "El usuario no existe", Verdict.HARD, "mailbox_unknown"),
        (Step.RCPT, 550, "<ana@example.org>: unknown", Verdict.HARD, "mailbox_unknown"),
        (Step.RCPT, 554, "blocked", Verdict.BLOCK, "policy"),
        (Step.MAIL, 530, "5.7.0 Must issue a STARTTLS command first", Verdict.SYSTEM, "tls_required"),
        (Step.RCPT, 553, "5.6.7 SMTPUTF8", Verdict.REFUSED, "letters_unsupported"),
        (Step.RCPT, 451, "4.3.0 disk", Verdict.SYSTEM, "relay_out_of_order"),
        (Step.RCPT, 550, "5.4.5 daily limit", Verdict.SYSTEM, "quota"),
        (Step.RCPT, 421, "4.2.1 too many", Verdict.SYSTEM, "relay_closed"),
        (Step.MAIL, 550, "5.1.1 odd", Verdict.BLOCK, "sender_refused"),
        (Step.MAIL, 550, "5.7.60 not allowed to send as", Verdict.BLOCK, "sender_refused"),
        (Step.MAIL, 530, "5.7.57 sign in", Verdict.SYSTEM, "sign_in_refused"),
        (Step.CONNECT, 535, "5.7.139 bad credentials", Verdict.SYSTEM, "sign_in_refused"),
        (Step.MAIL, 451, "", Verdict.SYSTEM, "relay_out_of_order"),
        (Step.MAIL, 552, "too big", Verdict.REFUSED, "too_large"),
        (Step.CONNECT, 535, "5.7.8 bad credentials", Verdict.SYSTEM, "sign_in_refused"),
        (Step.CONNECT, 550, "5.7.30 basic auth is off", Verdict.SYSTEM, "sign_in_disabled"),
        (Step.CONNECT, 454, "4.7.5 certificate", Verdict.SYSTEM, "tls_refused"),
        (Step.CONNECT, 0, "", Verdict.SYSTEM, "relay_unreachable"),
        (Step.CONNECT, 554, "5.7.1 go away", Verdict.BLOCK, "policy"),
        (Step.MESSAGE, 554, "5.7.1 spam", Verdict.BLOCK, "policy"),
        (Step.MESSAGE, 554, "no thanks", Verdict.BLOCK, "content_refused"),
        (Step.MESSAGE, 552, "5.3.4 too big", Verdict.REFUSED, "too_large"),
        (Step.MESSAGE, 421, "4.3.2 bye", Verdict.SYSTEM, "relay_closed"),
        (Step.MESSAGE, 451, "4.7.1 later", Verdict.SOFT, "try_later"),
        (Step.MESSAGE, 0, "", Verdict.IN_DOUBT, "no_clear_answer"),
        (Step.MESSAGE, 354, "go on", Verdict.IN_DOUBT, "no_clear_answer"),
        (Step.DATA, 0, "", Verdict.SYSTEM, "relay_closed"),
    ],
)
def test_judges_an_answer(step: Step, code: int, text: str, verdict: Verdict, reason: str) -> None:
    judgement = judge(Reply(step, code, text))
    assert (judgement.verdict, judgement.reason) == (verdict, reason)


@given(st.sampled_from(Step), st.integers(0, 999), st.text(max_size=40) | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3} .*"))
def test_judges_any_answer_with_a_sentence(step: Step, code: int, text: str) -> None:
    judgement = judge(Reply(step, code, text))
    assert judgement.verdict is Verdict.ACCEPTED or judgement.reason in SENTENCES


@given(st.sampled_from([Step.CONNECT, Step.MAIL]), st.integers(0, 999), st.from_regex(r"[245]\.\d{1,3}\.\d{1,3} .*"))
def test_blames_no_person_before_rcpt(step: Step, code: int, text: str) -> None:
    assert judge(Reply(step, code, text)).verdict not in {Verdict.HARD, Verdict.SOFT}
