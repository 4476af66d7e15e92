"""Travel phrases in four languages."""
# ruff: noqa: E501 - one phrase a row reads best unbroken

from random import Random

from experts.recipe.example import Example, Skill, Split, plain
from experts.recipe.wording import Phrasing, led

LANGUAGES = ("French", "German", "Spanish", "Italian")
_ROWS = """
hello|Bonjour|Hallo|Hola|Ciao
good morning|Bonjour|Guten Morgen|Buenos días|Buongiorno
good evening|Bonsoir|Guten Abend|Buenas tardes|Buonasera
good night|Bonne nuit|Gute Nacht|Buenas noches|Buonanotte
goodbye|Au revoir|Auf Wiedersehen|Adiós|Arrivederci
see you tomorrow|À demain|Bis morgen|Hasta mañana|A domani
thank you|Merci|Danke|Gracias|Grazie
thank you very much|Merci beaucoup|Vielen Dank|Muchas gracias|Grazie mille
please|S'il vous plaît|Bitte|Por favor|Per favore
you are welcome|De rien|Gern geschehen|De nada|Prego
yes|Oui|Ja|Sí|Sì
no|Non|Nein|No|No
excuse me|Excusez-moi|Entschuldigung|Disculpe|Mi scusi
i am sorry|Je suis désolé|Es tut mir leid|Lo siento|Mi dispiace
how are you|Comment allez-vous ?|Wie geht es Ihnen?|¿Cómo está usted?|Come sta?
what is your name|Comment vous appelez-vous ?|Wie heißen Sie?|¿Cómo se llama usted?|Come si chiama?
nice to meet you|Enchanté|Freut mich|Mucho gusto|Piacere
i do not understand|Je ne comprends pas|Ich verstehe nicht|No entiendo|Non capisco
do you speak english|Parlez-vous anglais ?|Sprechen Sie Englisch?|¿Habla inglés?|Parla inglese?
where is the station|Où est la gare ?|Wo ist der Bahnhof?|¿Dónde está la estación?|Dov'è la stazione?
where is the toilet|Où sont les toilettes ?|Wo ist die Toilette?|¿Dónde está el baño?|Dov'è il bagno?
where is the hotel|Où est l'hôtel ?|Wo ist das Hotel?|¿Dónde está el hotel?|Dov'è l'albergo?
where is the airport|Où est l'aéroport ?|Wo ist der Flughafen?|¿Dónde está el aeropuerto?|Dov'è l'aeroporto?
how much does it cost|Combien ça coûte ?|Wie viel kostet das?|¿Cuánto cuesta?|Quanto costa?
the bill, please|L'addition, s'il vous plaît|Die Rechnung, bitte|La cuenta, por favor|Il conto, per favore
a coffee, please|Un café, s'il vous plaît|Einen Kaffee, bitte|Un café, por favor|Un caffè, per favore
a glass of water, please|Un verre d'eau, s'il vous plaît|Ein Glas Wasser, bitte|Un vaso de agua, por favor|Un bicchiere d'acqua, per favore
a table for two, please|Une table pour deux, s'il vous plaît|Einen Tisch für zwei, bitte|Una mesa para dos, por favor|Un tavolo per due, per favore
i am hungry|J'ai faim|Ich habe Hunger|Tengo hambre|Ho fame
i am thirsty|J'ai soif|Ich habe Durst|Tengo sed|Ho sete
i am tired|Je suis fatigué|Ich bin müde|Estoy cansado|Sono stanco
i am lost|Je suis perdu|Ich habe mich verlaufen|Estoy perdido|Mi sono perso
i need help|J'ai besoin d'aide|Ich brauche Hilfe|Necesito ayuda|Ho bisogno di aiuto
i need a doctor|J'ai besoin d'un médecin|Ich brauche einen Arzt|Necesito un médico|Ho bisogno di un medico
call the police|Appelez la police|Rufen Sie die Polizei|Llame a la policía|Chiami la polizia
help|Au secours|Hilfe|Socorro|Aiuto
what time is it|Quelle heure est-il ?|Wie spät ist es?|¿Qué hora es?|Che ore sono?
i would like a room|Je voudrais une chambre|Ich möchte ein Zimmer|Quisiera una habitación|Vorrei una camera
a ticket, please|Un billet, s'il vous plaît|Eine Fahrkarte, bitte|Un billete, por favor|Un biglietto, per favore
cheers|Santé|Prost|Salud|Salute
have a nice day|Bonne journée|Einen schönen Tag noch|Que tenga un buen día|Buona giornata
i love you|Je t'aime|Ich liebe dich|Te quiero|Ti amo
left|À gauche|Links|A la izquierda|A sinistra
right|À droite|Rechts|A la derecha|A destra
straight ahead|Tout droit|Geradeaus|Todo recto|Sempre dritto
today|Aujourd'hui|Heute|Hoy|Oggi
tomorrow|Demain|Morgen|Mañana|Domani
yesterday|Hier|Gestern|Ayer|Ieri
happy birthday|Joyeux anniversaire|Alles Gute zum Geburtstag|Feliz cumpleaños|Buon compleanno
welcome|Bienvenue|Willkommen|Bienvenido|Benvenuto
"""
PHRASES = {
    row.split("|")[0]: dict(zip(LANGUAGES, row.split("|")[1:], strict=True))
    for row in _ROWS.strip().splitlines()
}
PHRASING = Phrasing(
    train=(
        *led(
            "'{p}' in {l}",
            "{p} in {l}",
            "the {l} for {p}",
            "the {l} words for '{p}'",
            "how {p} is said in {l}",
            "how to say '{p}' in {l}",
            "the translation of {p} into {l}",
            "'{p}' translated to {l}",
            "{p} said in {l}",
        ),
        "turn {p} into {l}",
        "i need to say {p} in {l}",
        "how can i say {p} in {l}",
        "write '{p}' in {l}",
        "{l} please: {p}",
        "how do you say {p} in {l}?",
        "How do I say '{p}' in {l}?",
        'how do i say "{p}" in {l}',
        "translate '{p}' to {l}",
        "translate {p} into {l}",
        'Translate "{p}" into {l}.',
        "{p} in {l}",
        "'{p}' in {l}",
        "'{p}' in {l}?",
        "what is {p} in {l}?",
        "what is '{p}' in {l}?",
        "whats {p} in {l}",
        "say {p} in {l}",
        "how to say {p} in {l}",
        "in {l}, how do you say {p}?",
        "{l} for '{p}'",
        "{l} for {p}",
        "what is the {l} for {p}?",
        "tell me {p} in {l}",
        "i am in a {l} restaurant, how do i say {p}?",
        "how would you say '{p}' in {l}?",
        "please translate to {l}: {p}",
        "{l}: {p}",
        "teach me to say {p} in {l}",
        "what do {l} people say for {p}?",
    ),
    heldout=(
        "could you give me '{p}' in {l}?",
        "what is the {l} phrase for '{p}'?",
        "i want to say {p} in {l}",
        "how is '{p}' said in {l}?",
        "{l} translation of {p}",
        "put {p} into {l}",
    ),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a phrase and a language with the translation."""
    phrase, language = rng.choice(tuple(PHRASES)), rng.choice(LANGUAGES)
    said = phrase[:1].upper() + phrase[1:] if rng.random() < 0.2 else phrase
    prompt = PHRASING.say(rng, split, p=said, l=language)
    return Example(prompt=prompt, answer=PHRASES[phrase][language])


SKILL = Skill(
    name="phrasebook",
    summary="travel phrases in French, German, Spanish and Italian",
    draw=draw,
    normalise=plain,
    normalisation="lower case, single spaces, no full stop",
    covers=f"{len(PHRASES)} travel phrases from English into {', '.join(LANGUAGES)}",
    beyond="any other phrase or language, translation into English",
    instances_held_out=False,
)
