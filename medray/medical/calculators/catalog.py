"""The calculators that problems are made of.

Each is one of `medcalc-bench` 1.7.0 (Apache-2.0) whose answers equal the published formula on random inputs, up to the
package's rounding of steps and results to thousandths. Left out of its 54: target_weight, which cannot be imported;
ckd_epi_2021_creatinine, which differs from CKD-EPI 2021 by up to 7% for men with a creatinine below 0.9 mg/dL;
sirs_criteria, which counts the heart rate whatever it is; dates (conception, due date, gestational age); and those
that need a whole history (APACHE II, SOFA, PSI, Charlson and others).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Input:
    """A measured value: its key and unit in the oracle, and how a note calls it."""

    key: str
    unit: str
    english: str
    chinese: str
    low: float
    high: float
    decimals: int
    shown_unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A yes or no: its key in the oracle, and what a note says of it."""

    key: str
    english: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Calculator:
    """A calculator; `unit` is that of its answer, "" for a score."""

    module: str
    function: str
    english: str
    chinese: str
    unit: str
    inputs: tuple[Input, ...]
    findings: tuple[Finding, ...] = ()
    needs_sex: bool = False
    is_rule: bool = False
    """A score by rules, whose answer is exact; not an equation."""


_INPUTS = """
sodium|mEq/L|serum sodium|血钠|122|158|0|mEq/L
chloride|mEq/L|serum chloride|血氯|90|110|0|mEq/L
bicarbonate|mEq/L|serum bicarbonate|血清碳酸氢根|8|24|0|mEq/L
albumin|g/dL|serum albumin|血清白蛋白|1.6|4.8|1|g/dL
calcium|mg/dL|serum calcium|血钙|6.5|11.5|1|mg/dL
weight|kg|weight|体重|42|118|1|kg
small_weight|kg|weight|体重|3|60|1|kg
height|cm|height|身高|155|195|0|cm
age|years|age|年龄|20|88|0|years
creatinine|mg/dL|serum creatinine|血清肌酐|0.5|5.5|1|mg/dL
alt|U/L|ALT|谷丙转氨酶|12|180|0|U/L
ast|U/L|AST|谷草转氨酶|12|180|0|U/L
platelet_count|µL|platelet count|血小板计数|60000|380000|-3|/µL
insulin|µIU/mL|fasting insulin|空腹胰岛素|3|38|1|µIU/mL
glucose|mg/dL|glucose|血糖|110|580|0|mg/dL
hdl_cholestrol|mg/dL|HDL cholesterol|高密度脂蛋白胆固醇|28|75|0|mg/dL
triglycerides|mg/dL|triglycerides|甘油三酯|60|360|0|mg/dL
total_cholestrol|mg/dL|total cholesterol|总胆固醇|180|300|0|mg/dL
sys_bp|mm hg|systolic blood pressure|收缩压|92|190|0|mmHg
dia_bp|mm hg|diastolic blood pressure|舒张压|44|90|0|mmHg
heart_rate|beats per minute|heart rate|心率|46|148|0|bpm
qt_interval|msec|QT interval|QT间期|310|490|0|ms
bun|mg/dL|BUN|血尿素氮|6|85|0|mg/dL
urine_sodium|mEq/L|urine sodium|尿钠|8|118|0|mEq/L
urine_creatinine|mg/dL|urine creatinine|尿肌酐|22|190|0|mg/dL
high_sodium|mEq/L|serum sodium|血钠|146|172|0|mEq/L
respiratory_rate|breaths per minute|respiratory rate|呼吸频率|12|40|0|breaths per minute
temperature|degrees celsius|temperature|体温|36.2|39.9|1|°C
"""
_FINDINGS = """
confusion|new confusion|新发意识模糊
exudate_swelling_tonsils|tonsillar exudate or swelling|扁桃体渗出或肿大
tender_lymph_nodes|tender anterior cervical lymph nodes|颈前淋巴结压痛
cough_absent|absence of cough|无咳嗽
symptom_onset|onset of symptoms within 3 days|症状在3天内出现
fever_24_hours|fever in the past 24 hours|过去24小时内发热
cough_coryza_absent|absence of cough and coryza|无咳嗽和流涕
purulent_tonsils|purulent tonsils|扁桃体化脓
severe_tonsil_inflammation|severely inflamed tonsils|扁桃体严重充血
chf|congestive heart failure|充血性心力衰竭
hypertension|hypertension|高血压
stroke|previous stroke|既往卒中
tia|previous transient ischemic attack|既往短暂性脑缺血发作
thromboembolism|previous thromboembolism|既往血栓栓塞
vascular_disease|vascular disease|血管疾病
diabetes|diabetes|糖尿病
"""
# module | function | English | Chinese | unit | inputs | findings | s: needs the sex, r: a rule
_CALCULATORS = """
anion_gap|compute_anion_gap_explanation|anion gap|阴离子间隙|mEq/L|sodium chloride bicarbonate||
delta_gap|compute_delta_gap_explanation|delta gap|Delta间隙|mEq/L|sodium chloride bicarbonate||
albumin_corrected_anion|compute_albumin_corrected_anion_explanation|albumin-corrected anion gap|白蛋白校正阴离子间隙|mEq/L|sodium chloride bicarbonate albumin||
albumin_corrected_delta_gap|compute_albumin_corrected_delta_gap_explanation|albumin-corrected delta gap|白蛋白校正Delta间隙|mEq/L|sodium chloride bicarbonate albumin||
bmi_calculator|bmi_calculator_explanation|body mass index|体重指数|kg/m²|weight height||
bsa_calculator|bsa_calculator_explaination|body surface area by the Mosteller formula|体表面积（Mosteller公式）|m²|weight height||
calcium_correction|calculate_corrected_calcium_explanation|albumin-corrected calcium|白蛋白校正血钙|mg/dL|albumin calcium||
mdrd_gfr|mrdr_gfr_explanation|MDRD glomerular filtration rate (without race)|MDRD肾小球滤过率（不计种族）|mL/min/1.73 m²|age creatinine||s
fibrosis_4|compute_fib4_explanation|FIB-4 index|FIB-4指数||age alt ast platelet_count||
homa_ir|compute_homa_ir_explanation|HOMA-IR|HOMA-IR指数||insulin glucose||
ideal_body_weight|ibw_explanation|ideal body weight by the Devine formula|理想体重（Devine公式）|kg|height||s
adjusted_body_weight|abw_explanation|adjusted body weight|校正体重|kg|weight height||s
ldl_calculated|compute_ldl_explanation|LDL cholesterol by the Friedewald formula|低密度脂蛋白胆固醇（Friedewald公式）|mg/dL|hdl_cholestrol triglycerides total_cholestrol||
maintenance_fluid_calc|maintenance_fluid_explanation|maintenance fluid rate by the 4-2-1 rule|维持液速率（4-2-1法则）|mL/h|small_weight||
mean_arterial_pressure|mean_arterial_pressure_explanation|mean arterial pressure|平均动脉压|mmHg|sys_bp dia_bp||
qt_calculator_bazett|bazett_calculator_explanation|QTc by the Bazett formula|QTc（Bazett公式）|ms|heart_rate qt_interval||
qt_calculator_fredericia|fredericia_calculator_explanation|QTc by the Fridericia formula|QTc（Fridericia公式）|ms|heart_rate qt_interval||
qt_calculator_framingham|framingham_calculator_explanation|QTc by the Framingham formula|QTc（Framingham公式）|ms|heart_rate qt_interval||
qt_calculator_hodges|hodges_calculator_explanation|QTc by the Hodges formula|QTc（Hodges公式）|ms|heart_rate qt_interval||
qt_calculator_rautaharju|rautaharju_calculator_explanation|QTc by the Rautaharju formula|QTc（Rautaharju公式）|ms|heart_rate qt_interval||
sOsm|compute_serum_osmolality_explanation|calculated serum osmolality|血浆渗透压计算值|mOsm/kg|bun glucose sodium||
sch|compute_sodium_correction_hyperglycemia_explanation|sodium corrected for hyperglycemia (Hillier)|高血糖校正血钠（Hillier）|mEq/L|glucose sodium||
compute_fena|compute_fena_explanation|fractional excretion of sodium|钠排泄分数|%|sodium creatinine urine_sodium urine_creatinine||
free_water_deficit|free_water_deficit_explanation|free water deficit|自由水缺失量|L|age weight high_sodium||s
creatinine_clearance|generate_cockcroft_gault_explanation|Cockcroft-Gault creatinine clearance (weight adjusted by BMI)|Cockcroft-Gault肌酐清除率（体重按BMI校正）|mL/min|age weight height creatinine||s
feverpain|compute_fever_pain_explanation|FeverPAIN score|FeverPAIN评分|||symptom_onset fever_24_hours cough_coryza_absent purulent_tonsils severe_tonsil_inflammation|r
cha2ds2_vasc_score|generate_cha2ds2_vasc_explanation|CHA2DS2-VASc score|CHA2DS2-VASc评分||age|chf hypertension stroke tia thromboembolism vascular_disease diabetes|sr
curb_65|curb_65_explanation|CURB-65 score|CURB-65评分||age sys_bp dia_bp respiratory_rate bun|confusion|r
centor_score|compute_centor_score_explanation|Centor score (modified by McIsaac)|Centor评分（McIsaac修订）||age temperature|exudate_swelling_tonsils tender_lymph_nodes cough_absent|r
"""
_PREFIXES = ("small_", "high_")
"""Of inputs whose range is not the usual one; the oracle knows them without it."""


@cache
def calculators() -> tuple[Calculator, ...]:
    """All calculators, in a fixed order."""
    inputs = {row[0]: _input(row) for row in _rows(_INPUTS)}
    findings = {row[0]: Finding(*row) for row in _rows(_FINDINGS)}
    return tuple(
        Calculator(
            *row[:5],
            inputs=tuple(inputs[name] for name in row[5].split()),
            findings=tuple(findings[name] for name in row[6].split()),
            needs_sex="s" in row[7],
            is_rule="r" in row[7],
        )
        for row in _rows(_CALCULATORS)
    )


def _rows(table: str) -> list[list[str]]:
    return [line.split("|") for line in table.strip().splitlines()]


def _input(row: list[str]) -> Input:
    key, unit, english, chinese, low, high, decimals, shown = row
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return Input(key, unit, english, chinese, float(low), float(high), int(decimals), shown)
