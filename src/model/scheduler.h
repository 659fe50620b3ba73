/* What a checkpoint says of its noise schedule and of what its U-Net predicts. */
#ifndef UDUMP_MODEL_SCHEDULER_H
#define UDUMP_MODEL_SCHEDULER_H

#include "model/model.h"

/* Sets the model's betas, zero_snr and prediction. What the user asks for comes first, then scheduler_config.json, then the marks that
 * single files carry: tensors named "v_pred" and "ztsnr", of whatever shape. A single file of SD 2 without either leaves prediction
 * AUTO; everything else is epsilon. Errors: UNSUPPORTED, WEIGHTS. */
udump_status udump_scheduler_read(
    udump_model *model, const udump_weights *weights, const udump_model_options *options, udump_error *error);
/* Settles an AUTO, with the U-Net loaded, by what it does (prediction.h). Errors: MEMORY, DEVICE. */
udump_status udump_scheduler_ask(udump_model *model, udump_error *error);

#endif
