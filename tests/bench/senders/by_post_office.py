"""django-post-office: `by_post_office PORT MAILS SIZE FOLDER`: its queue in SQLite, its own template rendered for each mail, one
process."""

import sys
from pathlib import Path

import django
from django.conf import settings

from tests.bench.senders import measured

port, mails, size, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "post_office.db"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    EMAIL_BACKEND="post_office.EmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=port,
    POST_OFFICE={
        "BATCH_SIZE": 1000,
        "LOG_LEVEL": 2,
        "THREADS_PER_PROCESS": 5,
        "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402  # only once Django is told its settings
from post_office import mail as post  # noqa: E402
from post_office.models import EmailTemplate  # noqa: E402

TEXT = "La Ciudad de México elige también con quienes viven fuera de ella.\n" * (size // 150)
call_command("migrate", verbosity=0)
template = EmailTemplate.objects.create(
    name="bench",
    subject="Tu credencial, {{ name }}",
    content="Hola, {{ name }}:\n" + TEXT,
    html_content="<p>Hola, {{ name }}:</p>" + TEXT,
)
post.send_many(
    [
        {
            "sender": "red@example.org",
            "recipients": [f"persona{number}@example.org"],
            "template": template,
            "context": {"name": f"José {number}"},
        }
        for number in range(mails)
    ]
)
measured(lambda: post.send_queued(processes=1))
