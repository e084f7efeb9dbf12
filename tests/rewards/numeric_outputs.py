"""Outputs of models written by hand, with what a person says of them.

A line: gold | output | verdict. Verdicts: y right, n wrong, t wrong by a power of ten, - no answer to read.
"""

ENGLISH = r"""
5 mg | 5 mg | y
5 mg | 5mg | y
5 mg | 5 MG | y
5 mg | The dose is 5 mg. | y
5 mg | The dose is 5 milligrams. | y
5 mg | 5000 mcg | y
5 mg | 0.005 g | y
5 mg | 5,000 micrograms | y
5 mg | five milligrams | y
5 mg | Give five mg now. | y
5 mg | **5 mg** | y
5 mg | \boxed{5 \text{ mg}} | y
5 mg | \boxed{5\,\mathrm{mg}} | y
5 mg | <answer>5 mg</answer> | y
5 mg | #### 5 mg | y
5 mg | #### 5 | y
5 mg | 5 | y
5 mg | <think>10 mg?</think>5 mg | y
5 mg | <think>5 mg</think>10 mg | n
5 mg | <think>5 mg | -
5 mg | 50 mg | t
5 mg | 0.5 mg | t
5 mg | 5 mcg | t
5 mg | 5 g | t
5 mg | 500 mg | t
5 mg | 6 mg | n
5 mg | 5 mL | n
5 mg | 5 tablets | n
5 mg | 5-10 mg | -
5 mg | 5 to 10 mg | -
5 mg | between 5 mg and 10 mg, say 5 mg | y
5 mg | 5 mg or 10 mg | -
5 mg | 5 or 10 mg | -
5 mg | not 10 mg but 5 mg | y
5 mg | 10 mg, rather than 5 mg | n
5 mg | The answer is not 5 mg. | -
5 mg | The dose is 5 mg twice daily for 7 days. | y
5 mg | Start at 2 mg. After a week, the dose is 5 mg. | y
5 mg | 0.1 mg/kg x 50 kg = 5 mg | y
5 mg | 0.1 x 50 = 5 | y
5 mg | 50 kg * 0.1 mg/kg = 5 mg per day | n
5 mg | I do not know. | -
5 mg |  | -
5 mg | The patient weighs 50 kg and takes 5 mg. | y
5 mg | Take it for 10 days: 5 mg | y
5 mg | answer: 5 mg | y
5 mg | Answer = 5.0 mg | y
5 mg | The answer is approximately 5 mg. | y
5 mg | ≈ 5 mg | y
5 mg | ~5 mg | y
2.5 tablets | two and a half tablets | y
2.5 tablets | 2 1/2 tablets | y
2.5 tablets | 2½ tablets | y
2.5 tablets | 5/2 tablets | y
2.5 tablets | 25 tablets | t
0.5 tablet | half a tablet | y
0.5 tablet | 1/2 tablet | y
0.5 tablet | one half tablet | y
0.5 tablet | a tablet | -
120 mg | one hundred and twenty milligrams | y
120 mg | one hundred twenty mg | y
1200 mg | 1,200 mg | y
1200 mg | 1.2 g | y
1200 mg | 1.2e3 mg | y
1200 mg | 1.2 x 10^3 mg | y
1200 mg | 1.2 × 10³ mg | y
1200 mg | 1.2 \times 10^{3} mg | y
1200 mg | twelve hundred mg | y
1200 mg | 1,200.00 mg | y
1500000000 /L | 1.5 x 10^9/L | y
1500000000 /L | 1500 /uL | y
1500000000 /L | 1500/mm3 | y
98.6 °F | 37 °C | y
98.6 °F | 98.6 degrees Fahrenheit | y
37 °C | 98.6 ℉ | y
37 °C | 37 | y
-3.2 mEq/L | The base excess is -3.2 mEq/L | y
-3.2 mEq/L | 3.2 mEq/L | n
-3.2 mEq/L | −3.2 mEq/L | y
20% | 20 percent | y
20% | 20 % | y
20% | 0.2 | t
20% | The risk is 20%. | y
7 | The score is 7. | y
7 | 7 points | y
7 | Total = 3 + 4 = 7 | y
7 | Total: 3 + 4 = 7 points | y
7 | Seven | y
7 | The CURB-65 score is 7 | y
7 | 2 + 2 + 3 = 7. So the total score is 7. | y
7 | The score is 6. Wait, the score is 7. | y
7 | The score is 7. Wait, the score is 6. | n
7 | HbA1c and vitamin B12 are 7 | y
7 | B12 | -
66.5 mL/min | 66.5 ml per minute | y
66.5 mL/min | 3.99 L/h | y
66.5 mL/min | 665 mL/min | t
90 mmHg | MAP = 90 mmHg | y
90 mmHg | BP 120/75 mmHg gives a MAP of 90 mmHg | y
90 mmHg | 120/75 mmHg | -
90 mmHg | 12 kPa | y
24 kg/m2 | 24 kg/m^2 | y
24 kg/m2 | BMI: 24 kg/m² | y
24 kg/m2 | The BMI is 24. | y
1.73 m2 | 1.73 m² | y
1.73 m2 | 17300 cm^2 | y
3 days | 72 hours | y
3 days | three days | y
3 days | 3 d | y
"""

CHINESE = r"""
5 mg | 5毫克 | y
5 mg | ５毫克 | y
5 mg | 五毫克 | y
5 mg | 剂量为5毫克。 | y
5 mg | 剂量是五毫克 | y
5 mg | 答案：5 mg | y
5 mg | 答案是5mg。 | y
5 mg | 答案为 5 毫克，每日两次，共7天 | y
5 mg | 5000微克 | y
5 mg | 0.005克 | y
5 mg | 五千微克 | y
5 mg | 零点零零五克 | y
5 mg | 50毫克 | t
5 mg | 5微克 | t
5 mg | 5克 | t
5 mg | 六毫克 | n
5 mg | 5毫升 | n
5 mg | 5片 | n
5 mg | 不是10毫克，而是5毫克 | y
5 mg | 5毫克或10毫克 | -
5 mg | 5到10毫克 | -
5 mg | 5～10毫克 | -
5 mg | 5至10毫克 | -
5 mg | <think>十毫克？</think>五毫克 | y
5 mg | <think>五毫克</think>十毫克 | n
5 mg | 先用2毫克。一周后剂量为5毫克。 | y
5 mg | 0.1×50=5毫克 | y
5 mg | 不知道 | -
5 mg | 一般情况良好 | -
5 mg | 约5毫克 | y
5 mg | 大约是5毫克 | y
5 mg | \boxed{5\text{毫克}} | y
5 mg | <answer>五毫克</answer> | y
5 mg | **五毫克** | y
2.5 片 | 两片半 | y
2.5 片 | 2.5片 | y
2.5 片 | 二点五片 | y
2.5 片 | 每次两片半 | y
2.5 片 | 25片 | t
2.5 片 | 三片 | n
0.5 片 | 半片 | y
0.5 片 | 每次半片 | y
0.5 片 | 一片的一半 | n
1.5 小时 | 一个半小时 | y
1.5 小时 | 90分钟 | y
1.5 小时 | 1.5个小时 | y
1.5 小时 | 一点五小时 | y
1.5 小时 | 九十分钟 | y
1.5 月 | 一个半月 | y
0.5 月 | 半个月 | y
120 mg | 一百二十毫克 | y
120 mg | 一百二十mg | y
120 mg | 0.12克 | y
12000 单位 | 1万2千单位 | y
12000 单位 | 一万二千单位 | y
12000 单位 | 1.2万单位 | y
12000 单位 | 12000 IU | y
12000 单位 | 12,000国际单位 | y
20% | 百分之二十 | y
20% | 20% | y
20% | 风险为百分之二十。 | y
20% | 百分之二 | t
0.25 | 四分之一 | y
0.25 | 1/4 | y
7 | 7分 | y
7 | 七分 | y
7 | 总分为7分 | y
7 | 总分：3+4=7分 | y
7 | 得分是七 | y
7 | 结果是7。 | y
7 | 评分为6分，不对，评分为7分 | y
7 | 十分严重 | -
7 | 三叉神经痛 | -
7 | 第二代头孢菌素 | -
5.5 mmol/L | 5.5毫摩尔/升 | y
5.5 mmol/L | 血糖为5.5 mmol/L | y
5.5 mmol/L | 五点五毫摩尔每升 | y
5.5 mmol/L | 5500微摩尔/升 | y
5.5 mmol/L | 55 mmol/L | t
90 mmHg | 90毫米汞柱 | y
90 mmHg | 平均动脉压为九十毫米汞柱 | y
90 mmHg | 12千帕 | y
90 mmHg | 血压120/75毫米汞柱 | -
37 ℃ | 37摄氏度 | y
37 ℃ | 三十七摄氏度 | y
37 ℃ | 98.6华氏度 | y
60 kg | 60公斤 | y
60 kg | 60千克 | y
60 kg | 六十千克 | y
60 kg | 体重60000克 | y
170 cm | 1.7米 | y
170 cm | 一百七十厘米 | y
3 天 | 72小时 | y
3 天 | 三天 | y
3 天 | 连用3日 | y
80 次/分 | 心率80次/分 | y
80 次/分 | 80次/分钟 | y
2 周 | 两周 | y
2 周 | 14天 | y
2 周 | 十四天 | y
"""


def rows() -> list[tuple[str, str, str]]:
    """(gold, output, verdict) of every line."""
    found = []
    for line in (ENGLISH + CHINESE).strip().splitlines():
        if line.strip():
            gold, _, rest = line.partition(" |")
            text, _, verdict = rest.rpartition("|")
            found.append((gold.strip(), text.strip(), verdict.strip()))
    return found
