"""What the closed lists of people are called, for whoever tells them: pages, files, sentences of segments."""

from crm.people.models import LeaderSector, Purpose

SECTOR_WORDS = {
    LeaderSector.COMMUNITY_DEVELOPMENT: "Desarrollo comunitario",
    LeaderSector.BUSINESS: "Negocios",
    LeaderSector.ACADEMIA: "Academia",
    LeaderSector.CULTURE: "Cultura",
}
PURPOSE_WORDS = {
    Purpose.ELECTORAL_INFORMATION: "información electoral",
    Purpose.CIVIC_EDUCATION: "educación cívica",
    Purpose.EVENT_INVITATION: "invitaciones a eventos",
    Purpose.NEWSLETTER: "boletín",
    Purpose.INSTITUTIONAL_LIAISON: "vinculación institucional",
    Purpose.CONSENT_REQUEST: "solicitud de consentimiento",
}
"""As they stand within a sentence: «dieron su consentimiento para …»."""
