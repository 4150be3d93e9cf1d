// What of FFmpeg is used; all else stays shut. Lists of FFmpeg's own names.
#pragma once

namespace parapet::media_detail {

// Demuxers. None of them opens another file.
inline constexpr const char* kFormats = "wav,w64,aiff,mp3,flac,ogg,aac,mov,matroska,avi,gif";

// Decoders: what these formats hold in practice.
inline constexpr const char* kDecoders =
    // Sound.
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_s64le,pcm_f32le,"
    "pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,"
    "mp1float,mp2float,mp3float,flac,vorbis,opus,aac,alac,ac3,eac3,speex,"
    // Video.
    "h264,hevc,vp8,vp9,libdav1d,libaom-av1,mpeg4,msmpeg4,msmpeg4v2,mpeg1video,mpeg2video,h263,"
    "mjpeg,"
    "theora,ffv1,prores,huffyuv,rawvideo,gif";

}  // namespace parapet::media_detail
