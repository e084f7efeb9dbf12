"""Every word of the page, in both languages."""

from __future__ import annotations

from dataclasses import dataclass

from medray.medical.safety.language import Language


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language."""

    title: str
    greeting: str
    ask: str
    send: str
    stop: str
    retry: str
    undo: str
    clear: str
    settings: str
    model: str
    system: str
    system_hint: str
    temperature: str
    top_p: str
    length: str
    language: str
    empty: str
    warned: str
    corrected: str
    shortened: str
    failed: str
    wait: str
    cut: str
    waits: str
    running: str
    export: str
    rated: str
    rating: str


TEXTS: dict[Language, Texts] = {
    "en": Texts(
        title="medray chat",
        greeting="Ask a medical question. Answers come from a language model and may be wrong: "
        "they are no diagnosis. In an emergency call your local emergency number.",
        ask="Your question",
        send="Send",
        stop="Stop",
        retry="Answer again",
        undo="Take back",
        clear="New chat",
        settings="Settings",
        model="Model",
        system="System prompt",
        system_hint="How the model should answer",
        temperature="Temperature (0: likeliest)",
        top_p="Top-p",
        length="Longest answer (tokens)",
        language="Language",
        empty="For example: How is asthma treated? What does a fasting glucose of 7.2 mmol/L mean?",
        warned="⚠️ Your words may describe an emergency. Please read the advice at the top of the answer.",
        corrected="⚠️ The answer was corrected by a safety rule. Please read the note at its end.",
        shortened="The conversation is longer than the model can read: its oldest turns were left out.",
        failed="No answer",
        wait="The last answer is still being written: wait for it, or press Stop.",
        cut="The answer was cut: it reached the longest length. Ask it to go on, or raise the length in the settings.",
        waits="Your question is kept, and sent when the answer is complete: {}",
        running="● Answering …",
        export="Export",
        rated="Thank you: the rating was stored.",
        rating="Thumbs store the conversation up to the rated answer on the server, for training.",
    ),
    "zh": Texts(
        title="medray 问答",
        greeting="请输入医学问题。回答由语言模型生成，可能有误，不是诊断。"
        "紧急情况请拨打当地急救电话（中国大陆 120）。",
        ask="您的问题",
        send="发送",
        stop="停止",
        retry="重新回答",
        undo="撤回",
        clear="新对话",
        settings="设置",
        model="模型",
        system="系统提示词",
        system_hint="希望模型如何回答",
        temperature="温度（0：最可能）",
        top_p="Top-p",
        length="最长回答（词元数）",
        language="语言",
        empty="例如：哮喘怎么治疗？空腹血糖 7.2 mmol/L 说明什么？",
        warned="⚠️ 您的描述可能是急症，请先阅读回答开头的建议。",
        corrected="⚠️ 安全规则更正了这条回答，请阅读末尾的说明。",
        shortened="对话超出了模型能读的长度，最早的几轮已略去。",
        failed="没有得到回答",
        wait="上一条回答还在生成：请等待，或按“停止”。",
        cut="回答达到最大长度而被截断：可以请它继续，或在设置中调大长度。",
        waits="您的问题已保留，当前回答完成后自动发送：{}",
        running="● 正在回答……",
        export="导出",
        rated="谢谢，评价已保存。",
        rating="点赞或点踩会把到该回答为止的对话保存在服务器上，用于训练。",
    ),
}
