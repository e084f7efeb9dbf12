"""Emergency red flags in English. Each holds where every sign of one of its rows holds.

What is a red flag follows public first-aid and triage teaching: heart attack, stroke (face, arm, speech), anaphylaxis,
sepsis and meningitis signs, bleeding in pregnancy, fever in the first three months, self-harm, poisoning, head injury.
"""

from __future__ import annotations

from medray.medical.safety.matching import Sign, sign

W = r"[\w' -]"
"""Inside a clause."""

CHEST = sign(
    "chest",
    rf"chest {W}{{0,20}}(?:pain|tight|pressure|hurt|heav|ach|crush|squeez|burning)|"
    rf"(?:pain|pressure|tightness|squeezing|heaviness|heavy weight|elephant|ache){W}{{0,24}} chest",
)
RADIATES = sign(
    "arm|jaw|sweat|short of breath|breath|nause|dizz|faint|crush|squeez|pressure|heav|tight|sudden|severe|"
    "worst|minutes|hour|elephant|grey|gray|pale|clammy|shoulder",
    r"\b(?:left )?(?:arm|jaw|shoulder)s?\b|sweat|breath|nause|dizz|faint|crush|squeez|pressure|heav|tight|sudden|"
    r"severe|worst|minutes|hours?\b|elephant|gr[ea]y\b|pale|clammy",
    deniable=False,
)
BREATHLESS = sign(
    "breath|choking|gasping",
    rf"(?:can't|cannot|can not|can barely|can hardly|unable to|struggling to|struggles to|hardly|barely|fighting to){W}{{0,14}} "
    rf"(?:breathe|breathing|catch (?:my|his|her) breath)|(?:not|stopped|isn't) breathing|gasping for|"
    rf"(?:is|he's|she's|baby|am|are) choking|choking on",
    deniable=False,
)
HARD_BREATHING = sign(
    "breath",
    rf"(?:hard to|difficulty|trouble){W}{{0,14}} (?:breathe|breathing)|"
    rf"(?:severe|sudden|very|so|extremely|suddenly){W}{{0,10}} (?:short(?:ness)? of breath|breathless)",
)
BLUE = sign("blue|purple|grey|gray", rf"(?:lips|face|fingers|skin){W}{{0,20}} (?:blue|purple|gr[ae]y)|(?:blue|purple|gr[ae]y)(?:ish)? (?:lips|face)")  # fmt: skip
FACE = sign("face|smile|mouth", rf"(?:face|smile|mouth|side of (?:my|his|her|the) face){W}{{0,20}} (?:droop|droops|sagg|crooked|twisted|numb|lopsided|uneven|fell|falling)|droop\w* face|facial droop|(?:droop|numb|sagg)\w*{W}{{0,20}} face")  # fmt: skip
SPEECH = sign("speech|slur|speak|talk|words", rf"slurr?\w*|(?:can't|cannot|trouble|difficulty|unable to|suddenly can't){W}{{0,8}} (?:speak|talk|find words|get (?:his|her|my) words)|speech (?:is|was|became|has become) (?:garbled|strange|unclear|slow)|words (?:come|came|are coming) out wrong|garbled|talking nonsense")  # fmt: skip
ONE_SIDE = sign("side|arm|leg|hand", rf"(?:one|left|right)(?: -)?{W}{{0,6}} ?(?:side|arm|leg|hand){W}{{0,30}} (?:weak|numb|paraly[sz]ed|limp|can't move|won't move|heavy|dead)|(?:weak\w*|numb\w*|paralysis|can't (?:move|lift|feel)|cannot (?:move|lift|feel)){W}{{0,24}} (?:one|left|right)(?: side| arm| leg| hand)")  # fmt: skip
THUNDERCLAP = sign("headache", r"worst headache|thunderclap|headache[\w ,'-]{0,30}(?:worst of (?:my|his|her) life|exploded|like a clap)|sudden\w*,? (?:severe|terrible|excruciating|violent|awful|massive)[\w ,-]{0,20}headache|headache (?:came on|started|hit)[\w ,']{0,14} (?:suddenly|in seconds|like)")  # fmt: skip
VISION = sign("vision|see out|sight|blind", rf"(?:sudden\w*|just|all at once){W}{{0,20}} (?:los[te]\w*|gone|blind|lose){W}{{0,20}}(?:vision|sight|eye)?|(?:lost|losing|loss of){W}{{0,14}} (?:vision|sight){W}{{0,30}}(?:sudden|one eye|minutes|hour|today)?|can't see out of|(?:vision|sight){W}{{0,20}} (?:went|gone) (?:black|dark|suddenly)|curtain")  # fmt: skip
SWELLING = sign("throat|tongue|lips|face", rf"(?:throat|tongue|lips?|face){W}{{0,24}} (?:swell|swollen|clos|tighten|puff)|swell\w*{W}{{0,16}} (?:throat|tongue|lips?|face|airway)|swollen{W}{{0,12}} (?:throat|tongue|lips?|face)")  # fmt: skip
ALLERGEN = sign("hives|allerg|sting|stung|peanut|nut|shellfish|shrimp|penicillin|antibiotic|bee|wasp|rash|welts|wheez|after eating|anaphyla|epipen|breath|medication|pill", r"hives|allerg|st[iu]ng|nuts?\b|shellfish|shrimp|penicillin|antibiotic|bee\b|wasp|rash|welts|wheez|after eating|breath|medication|pill", deniable=False)  # fmt: skip
ANAPHYLAXIS = sign("anaphyla|epipen", r"anaphyla|used (?:my|his|her|the|an) epipen|epipen")
SUICIDE = sign(
    "die|dying|kill|life|suicid|alive|live|living|end it|end everything|myself|himself|herself|dead|overdose|self|exist|wake up|be here|better off|goodbye|never born",
    rf"(?:want|wanna|going|plan\w*|ready|decided|wish|hoping|like|about|thinking (?:about|of)|thoughts? (?:of|about)|"
    rf"urge|trying|tried|attempt\w*){W}{{0,18}} (?:die\b|to be dead|dying|kill\w* (?:myself|himself|herself|themsel\w+|me)|"
    rf"end(?:ing)? (?:it all|my life|his life|her life|everything)|suicide|hurt(?:ing)? (?:myself|himself|herself)|"
    rf"cut(?:ting)? (?:myself|himself|herself)|hang(?:ing)? (?:myself|himself|herself)|tak(?:e|ing) (?:my|his|her) (?:own )?life|"
    rf"self[- ]harm)|(?:i'm|i am|feel\w*|been|is|he's|she's|are) (?:very |really |actively )?suicidal|"
    rf"(?:kill|shoot|hang) myself|(?:don't|do not|didn't|no longer|not) want to (?:live|be alive|exist|be here anymore|wake up)|"
    rf"better off (?:dead|without (?:me|him|her|us))|(?:keep|kept|been|started|start) (?:cutting|hurting|harming) (?:myself|himself|herself)|wish (?:i|he|she) (?:was|were) (?:dead|never born)|no (?:reason|point) (?:to|in) liv\w+|(?:wrote|writing|left) (?:a |my )?(?:suicide|goodbye) note|"
    rf"suicide (?:plan|attempt)|commit suicide",
    deniable=False,
)
HARM_OTHERS = sign("kill|hurt|harm|voices", rf"(?:want|going|urge|might|thoughts? (?:of|about)|thinking (?:about|of)){W}{{0,14}} (?:kill|hurt|harm|stab|shoot|smother)(?:ing)? (?:my|someone|somebody|him|her|them|people|the baby|our)|voices?{W}{{0,20}} (?:telling|tell|say\w*){W}{{0,14}} (?:kill|hurt|harm|jump|die)")  # fmt: skip
POISON = sign(
    "swallow|drank|drunk|overdos|ate|took|taken|pills|tablets|inhal|poison|carbon monoxide|bleach|battery|too many|too much",
    rf"overdos\w*|(?:swallow\w*|drank|drunk|drink\w*|ate|eaten|ingest\w*|got into|put in (?:his|her) mouth){W}{{0,26}} "
    rf"(?:bleach|batter\w+|antifreeze|pesticide|detergent|drain cleaner|pills|tablets|medication|rat poison|poison|magnets?|"
    rf"cleaner|gasoline|petrol|mushrooms?|nicotine|paint thinner|berries)|"
    rf"(?:took|taken|takes|take){W}{{0,16}} (?:too many|too much|a whole (?:bottle|pack|box|strip)|(?:[2-9]\d|1\d\d|twenty|thirty|forty|fifty|sixty) (?:\w+ ){{0,3}}(?:pills|tablets|capsules|paracetamol|tylenol|acetaminophen|ibuprofen|aspirin|sleeping))|"
    rf"too many{W}{{0,16}} (?:pills|tablets|paracetamol|tylenol|sleeping)|carbon monoxide (?:alarm|poison)|poisoned",
)
BLEEDING = sign(
    "blood|bleed|stool|tarry|coffee grounds",
    rf"(?:vomit\w*|throw\w* up|threw up|cough\w*(?: up)?|spitting up|puk\w*){W}{{0,20}} (?:blood|coffee grounds)|"
    rf"(?:won't|doesn't|not|can't|cannot|will not|wouldn't|hasn't){W}{{0,10}} (?:stop|stopped) (?:the )?bleed\w*|bleed\w*{W}{{0,20}} (?:won't|doesn't|will not|not|hasn't) stop\w*|"
    rf"can't stop the blood|(?:spurting|gushing|pouring|losing a lot of|lots of|soaked in){W}{{0,8}} blood|blood{W}{{0,10}} (?:spurting|gushing|pouring|squirting)|bleed\w* (?:heavily|profusely|badly|a lot)|heavy bleeding|severe bleeding|"
    rf"black{W}{{0,8}},? tarry|tarry{W}{{0,8}} stool|black stools?{W}{{0,40}} (?:dizz|faint|weak)|bright red blood{W}{{0,30}} (?:toilet|stool)",
    deniable=False,
)
PREGNANT = sign("pregnan|trimester|gestation|baby bump|due date|weeks along", r"\bpregnan\w*|trimester|gestation|weeks along|due date", deniable=True)  # fmt: skip
PREGNANCY_SIGN = sign(
    "bleed|blood|spotting|clot|pain|cramp|mov|kick|headache|vision|swelling|water|fluid|seizure|convuls|faint|contraction|spots|lights",
    rf"bleed\w*|\bblood(?! (?:test|work|type|pressure (?:is|was) (?:normal|fine)))\b|clots?\b|(?:severe|sharp|bad|terrible|intense|constant|sudden|strong|one-sided|awful){W}{{0,20}} (?:pain|cramp\w*)|"
    rf"(?:baby|not|stopped|less|hasn't|haven't|no){W}{{0,20}} (?:mov\w*|kick\w*)|(?:severe|bad|terrible|pounding|constant) headache|"
    rf"(?:blurr\w*|spots in|seeing spots|flashing|lights in){W}{{0,12}}(?:vision)?|water (?:broke|has broken)|waters (?:broke|have broken)|gush of (?:fluid|water)|leaking fluid|seizure|convuls\w*|fainted|regular contractions",
    deniable=False,
)
BABY = sign(
    "baby|newborn|infant|week-old|weeks old|week old|month-old|month old|months old|days old|day-old|day old",
    r"newborn|infant|(?:\b[1-9]|\b1[0-2]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)[ -]?(?:weeks?|days?)[ -]old|"
    r"(?:\b[1-3]|one|two|three)[ -]months?[ -]old|baby",
    deniable=False,
)
FEVER = sign("fever|temperature|38|39|40|100|101|102|103|104|105|burning up|febrile|hot", r"\bfever\w*|febrile|(?:temperature|temp)[\w ,'-]{0,24}(?:3[89]|4[0-2]|10[0-6])|(?:3[89]|4[0-2])(?:\.\d)? ?(?:c\b|°|degrees)|10[0-6](?:\.\d)? ?(?:f\b|°|degrees)|burning up")  # fmt: skip
YOUNG_FEVER = sign(
    "week|day|month|newborn",
    r"newborn|(?:\b[1-9]|\b1[0-2]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)[ -]?(?:weeks?|days?)[ -]old|"
    r"(?:\b[1-2]|one|two)[ -]months?[ -]old|(?:\b3|three)[ -]months?[ -]old",
    deniable=False,
)
LIMP = sign("limp|floppy|unresponsive|won't wake|hard to wake|not responding|not feeding|wet diaper|wet nappies|lethargic|blue|soft spot|breath|refus|crying", r"\blimp\b|floppy|unresponsive|(?:won't|can't|hard to|difficult to|doesn't|isn't) wak\w*|not responding|(?:no|not had a|hasn't had a|without a) wet (?:diaper|napp)\w*|letharg\w*|soft spot|grunting|won't (?:feed|eat|drink) (?:at all|anything)|(?:not|stopped) breathing|turn\w* blue|inconsolabl\w*", deniable=False)  # fmt: skip
STIFF_NECK = sign("neck", r"stiff(?:ness)?[\w ,'-]{0,14} neck|neck[\w ,'-]{0,20} stiff|can't (?:bend|touch)[\w ]{0,20} (?:neck|chin)")  # fmt: skip
PURPLE_RASH = sign("rash|spots", r"(?:purple|non-?blanching|bruise-like|pinprick|dark red)[\w ,-]{0,20} (?:rash|spots)|(?:rash|spots)[\w ,'-]{0,40} (?:doesn't|don't|won't|does not|do not|not) (?:fade|blanch|disappear)")  # fmt: skip
CONFUSED = sign("confus|delir|disorient|not making sense|doesn't know|doesn't recogni|drowsy|mottled|shak|rigors|shiver|racing|breathing", r"confus\w*|deliri\w*|disorient\w*|not making sense|doesn't (?:know|recogni[sz]e)|very drowsy|mottled|uncontrollabl\w* (?:shak|shiver)\w*|rigors|heart (?:is )?racing|fast breathing|breathing fast")  # fmt: skip
SEPSIS = sign(
    "sepsis|septic", r"(?:think|could|might|have|has|worried|sign)[\w ,']{0,30} (?:sepsis|septic)"
)
SEIZURE = sign("seizure|convuls|fit", r"(?:having|had|has had|started|in|is)[\w ,']{0,16} (?:a |an |another |his first |her first |my first )?(?:seizure|convulsion|fit\b)|(?:seizure|convuls\w*|fit)[\w ,']{0,30} (?:minutes|won't stop|not stopp\w*|still|first time|after)|convulsing|is seizing")  # fmt: skip
UNCONSCIOUS = sign("unconscious|passed out|pass out|collapse|unresponsive|won't wake|can't wake|not waking|faint|black|pulse", rf"unconscious|(?:passed|blacked) out|collapsed|unresponsive|(?:won't|can't|cannot|not|doesn't){W}{{0,10}} wak\w*(?: up)?(?: (?:him|her|them))|(?:he|she|dad|mom|husband|wife|friend|son|daughter|child|baby) (?:won't|isn't|will not) wak\w*|no pulse|keeps? fainting|fainted")  # fmt: skip
HEAD = sign("head|skull", rf"(?:hit|hits|banged|bumped|injur\w*|struck|fell{W}{{0,14}} on|landed on|blow to){W}{{0,16}} (?:head|skull)|head (?:injury|trauma)|concuss\w*")  # fmt: skip
HEAD_SIGN = sign("vomit|throw|confus|unconscious|passed out|drowsy|sleepy|clear fluid|blood|seizure|pupil|knocked out|blood thinner|warfarin|memory|wake|slur", r"vomit\w*|throw\w* up|threw up|confus\w*|unconscious|(?:passed|blacked|knocked) out|drows\w*|sleepy|clear fluid|blood (?:from|out of|thinner)|seizure|pupils?|warfarin|doesn't remember|memory|won't wake|hard to wake|slurr\w*")  # fmt: skip
BELLY = sign("abdom|stomach|belly|testic|side pain|lower right|back pain|tummy", rf"(?:sudden\w*|severe|excruciating|unbearable|worst|agonizing|agonising|intense|terrible){W}{{0,24}} (?:abdom\w*|stomach|belly|tummy|testic\w*){W}{{0,14}}(?:pain)?|(?:abdom\w*|stomach|belly|tummy|testic\w*) (?:pain|hurts?|ache){W}{{0,30}} (?:severe|unbearable|excruciating|suddenly|can't stand|doubled over|worst|so bad)|(?:abdomen|stomach|belly|tummy){W}{{0,12}} (?:rigid|hard as|board)|testic\w*{W}{{0,30}} (?:sudden|severe|twist)")  # fmt: skip
BACK = sign("back", r"\bback\b", deniable=False)
CAUDA = sign("numb|bladder|bowel|pee|urin|incontinen|saddle|groin|wet myself", r"numb\w*[\w ,']{0,24} (?:groin|genital\w*|buttocks|saddle|between (?:my|his|her|the) legs|inner thighs)|(?:groin|genitals|buttocks|saddle|private parts)[\w ,']{0,16} numb|(?:can't|cannot|unable to|trouble|lost control|losing control|loss of)[\w ,']{0,14} (?:pee|urinat\w*|bladder|bowels?|control my)|incontinen\w*|wet myself|soiled")  # fmt: skip
SUGAR = sign("sugar|glucose|ketone|ketoacid|diabet|insulin", r"(?:sugar|glucose)[\w ,':]{0,30}(?:[4-9]\d\d|\bhi\b)|(?:sugar|glucose)[\w ,':]{0,24}(?:\b[1-4]\d\b|\b[12]\.\d)|ketoacidosis|fruity breath|diabet\w*[\w ,']{0,60} (?:confus\w*|vomit\w*|unconscious|passed out|fruity|won't wake|shaking and)|too much insulin")  # fmt: skip
TRAUMA = sign("burn|boiling|electrocut|shock|stab|shot|snake|drown|hit by|crash|amput|bone|fell from|impaled|scald", rf"(?:severe|large|third[- ]degree|serious|deep|bad){W}{{0,14}} burns?|burns? (?:all over|over (?:half|most|his|her)|on (?:his|her|my) face)|scalded|boiling (?:water|oil){W}{{0,20}} (?:face|chest|all over|baby|toddler|child)|electrocuted|(?:been|was|got) (?:stabbed|shot|impaled)|snake ?bite|bitten by a (?:snake|rattlesnake|viper|cobra)|snake bit|(?:nearly |almost )?drown(?:ed|ing)|pulled (?:him|her){W}{{0,10}} (?:pool|water)|hit by a (?:car|truck|bus)|(?:finger|hand|toe|arm|leg){W}{{0,14}} (?:cut off|severed|amputated)|bone (?:is )?(?:sticking|poking|coming) (?:out|through)|fell from (?:the|a) (?:roof|ladder|balcony|window|second)")  # fmt: skip
EYE = sign("eye", r"(?:bleach|acid|chemical|cleaner|lye|cement|drain)[\w ,']{0,30} eyes?|eyes?[\w ,']{0,20} (?:bleach|acid|chemical|lye)|(?:something|glass|metal|nail)[\w ,']{0,20} (?:stuck in|pierced|penetrat\w*)[\w ,']{0,8} eye")  # fmt: skip
CLOT = sign("leg|calf", rf"(?:leg|calf){W}{{0,24}} (?:swollen|swelling|swell|red and|painful)")
HEATSTROKE = sign("heat stroke|heatstroke|hypotherm", r"heat ?stroke|hypotherm\w*")
PALPITATIONS = sign("heart", r"heart (?:is |was )?(?:racing|pounding|beating|rate|palpitations)[\w ,']{0,40}(?:faint|pass(?:ed|ing)? out|chest|breath|1[5-9]\d|2\d\d)")  # fmt: skip

RED_FLAGS: dict[str, tuple[tuple[Sign, ...], ...]] = {
    "suicide_or_self_harm": ((SUICIDE,),),
    "harm_to_others": ((HARM_OTHERS,),),
    "not_breathing_or_choking": ((BREATHLESS,), (HARD_BREATHING,), (BLUE,)),
    "unconscious": ((UNCONSCIOUS,),),
    "anaphylaxis": ((SWELLING, ALLERGEN), (SWELLING, BREATHLESS), (ANAPHYLAXIS,)),
    "chest_pain": ((CHEST, RADIATES), (PALPITATIONS,)),
    "stroke": ((FACE,), (SPEECH,), (ONE_SIDE,), (THUNDERCLAP,), (VISION,)),
    "severe_bleeding": ((BLEEDING,),),
    "pregnancy_emergency": ((PREGNANT, PREGNANCY_SIGN),),
    "infant_fever": ((YOUNG_FEVER, FEVER), (BABY, LIMP)),
    "meningitis_or_sepsis": (
        (FEVER, STIFF_NECK),
        (STIFF_NECK, CONFUSED),
        (PURPLE_RASH,),
        (FEVER, CONFUSED),
        (SEPSIS,),
    ),
    "poisoning": ((POISON,),),
    "seizure": ((SEIZURE,),),
    "head_injury": ((HEAD, HEAD_SIGN),),
    "severe_abdominal_pain": ((BELLY,),),
    "cauda_equina": ((BACK, CAUDA),),
    "diabetic_emergency": ((SUGAR,),),
    "trauma_or_burn": ((TRAUMA,), (EYE,), (HEATSTROKE,)),
    "blood_clot": ((CLOT, BREATHLESS), (CLOT, HARD_BREATHING), (CLOT, CHEST)),
}
